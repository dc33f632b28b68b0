"""What ``workflow doctor`` looks at, each check a function from the patient to findings."""
