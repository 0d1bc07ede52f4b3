"""`python -m dicom_node.inbound.fast`: the indexer's process."""

from dicom_node.pixel_free import keep_pixel_libraries_out

if __name__ == "__main__":
    keep_pixel_libraries_out()
    from dicom_node.inbound.fast.index_process import main

    main()
