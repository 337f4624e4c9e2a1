"""One page about a finished run: tables, distributions, worst frames, seams, energies, a 3D view.

Report folder, by default `<run>/report/`:

    report.html             everything in one file: no network, opens from a folder
    report.md               the tables in plain text
    headline.png            the headline figures as bars
    <recording>/            what was measured and drawn for one recording
        measures.npz            per-frame figures of every method
        view.npz                bodies of the 3D view
        worst-<frame>.jpg       the worst frames as pictures
        report.done.json        what these were made from
"""
