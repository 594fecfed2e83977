"""A real local S3 server, a GitHub stand-in and a seeded world, for trying the portal and for end-to-end tests."""
