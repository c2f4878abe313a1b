"""Who owns which saga: membership, adoption, hand-off, and requests that come to a SEC that is not the owner."""
