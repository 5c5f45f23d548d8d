"""What ``winnow bench`` runs: each figure beside its limit and its peer, measured in the same run."""
