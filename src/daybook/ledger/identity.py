"""Identities: persons and organisations that own balances."""

from __future__ import annotations

IDENTITY_FIELDS = (
    "identity_type",
    "first_name",
    "last_name",
    "other_names",
    "organization_name",
    "category",
    "gender",
    "dob",
    "email_address",
    "phone_number",
    "nationality",
    "street",
    "city",
    "state",
    "post_code",
    "country",
)
"""What is known of an identity beside its meta_data: texts, all of them optional."""
