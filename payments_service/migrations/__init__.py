"""The schema of this service's database, one dated step after the other."""
