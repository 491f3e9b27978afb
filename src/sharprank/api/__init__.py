"""Classes with the names, arguments and answers of other libraries' rerankers, on top of our models and scoring."""
