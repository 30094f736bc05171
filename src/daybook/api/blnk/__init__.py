"""What only the wire of Blnk asks for: its bodies, its shapes, its words."""
