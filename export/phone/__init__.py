"""The model on the device: a page that runs it in the browser, and what an app's author needs."""
