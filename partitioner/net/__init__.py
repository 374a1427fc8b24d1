"""The only floor that awaits: it moves bytes, keeps deadlines, and calls down for every decision."""
