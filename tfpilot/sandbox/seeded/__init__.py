"""The requests of the sandbox, told as stories: what happened on GitHub, and how much of it the web app heard.

`stage` is where they happen, `documents` what the web app writes, `tale` one request's story step by step, `chapters`
the steps that many have in common; `healthy`, `lost`, `odd` and `settled` are the stories, `unreadable` what is none.
`states` is Terraform's side of some of them: states, locks and digests.
"""
