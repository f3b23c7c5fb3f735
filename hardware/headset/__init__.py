"""A phone or headset as teleoperation device: its page, its certificate, its words and the server that joins them."""
