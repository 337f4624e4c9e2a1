"""Stages of the pseudo ground truth as plain functions on folders; `flows.pseudo_gt` schedules them.

Run folder, `<out_dir>/<name>/`:

    settings.yaml                       the resolved settings
    data/prox/, data/truth/             the synthetic tree, when no PROX root is given
    recordings/<recording>/
        fits/{prox_style,vposer_t,humor,prox_humor,refined}.npz one per row of the table, camera frame
        pseudo_gt.npz                   the result: SMPL+H and SMPL-X, camera and world frame
        metrics.json                    sums of every metric on this recording
        pictures/*.png
        *.done.json                     what each stage was made from
    PROXD/<recording>/results/<frame>/000.pkl               the result for tools that read PROX fits
    baseline/PROXD/...                  the PROX-style fits, where no released ones exist
    metrics.json, metrics.md            the table
"""
