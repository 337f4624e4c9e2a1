"""HuMoR motion prior, pose prior and initial-state mixture."""
