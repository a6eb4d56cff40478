"""What providers of segments share: naming a segment by its content, and keeping what was compiled."""
