"""What OpenSSH writes and vafw reads: a person's Ed25519 public key, and SSHSIG signatures made with its private half.

`public_key` is text and bytes alone, so that documents can be checked without any cryptography; `signature` verifies;
`signing` has a key file sign. Nothing here knows whose key it is or what was signed.
"""
