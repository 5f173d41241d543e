"""The mirror in a Supabase project: its queue consumer."""
