"""What taking over, handing off and restarting cost: each module measures one figure on real processes."""
