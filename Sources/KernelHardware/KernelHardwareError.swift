import Glibc
import Platform

/// Why the kernel does not take simulated hardware, and what to do.
public enum KernelHardwareError: Error, Sendable, Equatable, CustomStringConvertible {
    /// A part of the kernel is not there: what is missing, and the modules that bring it.
    case moduleMissing(path: String, modules: String)
    /// Only root may.
    case notPermitted(path: String)
    /// Every port of the virtual host controller has a device.
    case noFreePort(ports: Int)
    /// The kernel took the device, and no driver made of it what it should.
    case noDriver(device: String, modules: String)
    /// A system call failed.
    case system(SystemError)

    /// The meaning of a failed access to a file of the kernel's.
    init(_ error: SystemError, modules: String) {
        switch error.code {
        case ENOENT, ENODEV, ENXIO: self = .moduleMissing(path: error.subject, modules: modules)
        case EACCES, EPERM: self = .notPermitted(path: error.subject)
        default: self = .system(error)
        }
    }

    /// One line for a person.
    public var description: String {
        switch self {
        case .moduleMissing(let path, let modules): "\(path) is missing: run 'modprobe --all \(modules)' as root"
        case .notPermitted(let path): "\(path): permission denied; run this as root"
        case .noFreePort(let ports):
            "all \(ports) ports of the virtual host controller are taken; end another vigie-simbus or 'usbip detach' one"
        case .noDriver(let device, let modules):
            "no driver has taken the \(device): run 'modprobe --all \(modules)' as root and look at dmesg(1)"
        case .system(let error): "\(error)"
        }
    }
}
