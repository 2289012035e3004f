"""Pre- and postprocessing of ``sardonyx demo``, which detects file types with magika's model.

The model is read from the installed package ``magika`` (Apache-2.0). The package's Python code is not imported, because
it would open its own session; here the server runs the model. The rules (which bytes the model sees, which files need
no model, which scores are trusted) are those of magika 1.0, with all numbers read from the package's files.

    model = find_model()                       # magika_model.py
    make_repository(folder, model)             # lay out a model repository to serve
    prepared = prepare_input(path, model)      # classification.py: a Classification, or the row to send as input INPUT
    result = classify(scores, model)           # scores: the row of output OUTPUT in the response
"""
