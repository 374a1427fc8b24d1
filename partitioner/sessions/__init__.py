"""What a state server remembers: sessions, their locks, and when they expire."""
