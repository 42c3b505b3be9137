"""Money budgets of tenants: what their requests may cost in a day or a month.

What was spent is the ledger's to say: Redis adds up the cost of every use that it counts, so nothing is spent
twice or forgotten, whichever gateway died meanwhile. What is left gateways lease, as they do tokens a minute:
each gives away what it holds and no more, so all together stay within the budget. A request reserves the most
that it may cost, and pays what it did cost.
"""
