"""Export a trained model as a folder, to the Hugging Face hub, or to MLflow's registry."""
