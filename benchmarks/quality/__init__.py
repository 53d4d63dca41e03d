"""What a searched policy brings beside the baselines."""
