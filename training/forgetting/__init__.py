"""Deletions on their way into the files of the bucket: events, rejected rows and versions' lists.

Readers go by manifests. A file that is to change is written anew under another name, then the manifest is
replaced at once, and what no manifest lists any more goes when nobody can still be reading it. A crash
anywhere leaves the old manifest or the new one, and all that it lists; the next run goes on.
"""
