"""What everything stands on: errors, validation of arguments, hosts, time, imports."""
