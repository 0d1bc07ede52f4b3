"""`python -m dicom_node.inbound.fast`: the indexer's process."""

from dicom_node.lean_process import be_lean

if __name__ == "__main__":
    be_lean()
    from dicom_node.inbound.fast.index_process import main

    main()
