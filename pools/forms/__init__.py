"""What people type, before an operation sees it. Rules that bind every caller live in the operations and the spec."""
