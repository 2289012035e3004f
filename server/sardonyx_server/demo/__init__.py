"""What kind of file is this? The part of ``sardonyx demo`` around the model: everything but running it.

The model belongs to the package ``magika`` (Apache-2.0) and is taken from where that is installed. Its Python code is
not imported: it brings a session of its own, and here the server runs the model. The rules (what the model gets to see,
when it is not asked, when it is not believed) are those of magika 1.0, with every number read from its files. Pure but
for reading these files: knows no server, no client and no terminal.

    model = find_model()                       # installed.py
    make_repository(folder, model)             # serve it
    prepared = prepare(path, model)            # rules.py: an Answer already, or the row to send as input INPUT
    answer = judge(scores, model)              # scores: the row of output OUTPUT that came back
"""
