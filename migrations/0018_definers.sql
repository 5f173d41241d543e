-- A database user that may only read and write rows keeps the days of the history through this function: it runs with its
-- owner's rights, and finds tables of the schema only, whatever its caller's settings and temporary tables are.
ALTER FUNCTION keep_location_days(date, integer, integer) SECURITY DEFINER SET search_path = public, pg_temp;
