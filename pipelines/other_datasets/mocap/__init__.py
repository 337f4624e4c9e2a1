"""Motion capture as ASF/AMC or BVH (the free CMU set), retargeted to SMPL+H training clips."""
