"""A small guestbook: visitors leave entries, PostgreSQL keeps them."""
