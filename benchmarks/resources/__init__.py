"""What work costs: processor time by process, memory, statements and commits of the database, commands of the broker."""
