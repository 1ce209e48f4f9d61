"""Operations on the environments that releases run in: deploy, promote, roll back, history, alerts.

Imports `releasing` and what that imports; `rollout` and `targets` are its lower rooms.
"""
