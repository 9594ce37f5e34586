"""Turn CRM history into scores that people can trust."""
