/// Which release this build is. All processes of an installation should be of one.
package enum Release {
    package static let version = "0.1.0"
}
