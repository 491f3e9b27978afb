"""Door folder: without this file another installed package named `finetune` would win."""
