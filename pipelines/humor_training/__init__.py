"""Training the motion prior on AMASS, by HuMoR's own schedule too, and measuring it on held-out motions."""
