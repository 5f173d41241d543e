"""The mirror: a copy of users, trips and positions in Supabase, which the shipped app's map reads."""
