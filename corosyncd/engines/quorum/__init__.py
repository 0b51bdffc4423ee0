"""The quorum service: tells programs which nodes are members and whether they may act; a provider takes the decision."""
