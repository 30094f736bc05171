"""Whether the tests notice: small changes of the code, each of which some test must fail for."""
