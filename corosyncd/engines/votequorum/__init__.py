"""The vote quorum service: nodes have votes, and the part of the cluster that holds a majority of them may act."""
