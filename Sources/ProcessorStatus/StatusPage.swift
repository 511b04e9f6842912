import Monitoring
import Presentation
import Readings

/// The paths that show the collector's state: a page for a browser, its data, and a text for a terminal.
package struct StatusPage: Sendable {
    let collector: StatusCollector
    let wallClock: any WallClock

    package init(collector: StatusCollector, wallClock: any WallClock) {
        self.collector = collector
        self.wallClock = wallClock
    }

    /// The page loads nothing from elsewhere, may not be framed, and runs no script but its own.
    private static let policy: [(name: String, value: String)] = [
        (
            "Content-Security-Policy",
            "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
        ),
        ("Referrer-Policy", "no-referrer"),
    ]

    /// Each path with what answers it.
    package var routes: [String: HTTPEndpoint.Handler] {
        [
            "/": { file(PackageResources.page_html, "text/html; charset=utf-8") },
            "/page.css": { file(PackageResources.page_css, "text/css; charset=utf-8") },
            "/page.js": { file(PackageResources.page_js, "text/javascript; charset=utf-8") },
            "/icon.svg": { file(PackageResources.icon_svg, "image/svg+xml") },
            "/status.json": { json(collector.report(now: wallClock.now()).json) },
            "/history.json": { json(collector.report(now: wallClock.now()).historyJSON) },
            "/status": {
                let report = collector.report(now: wallClock.now())
                return HTTPResponse(status: report.isGood ? 200 : 503, body: Array(report.text.utf8))
            },
            "/status/self": {
                let report = collector.report(now: wallClock.now())
                return HTTPResponse(status: report.isGood ? 200 : 503, body: Array(report.ownText.utf8))
            },
        ]
    }

    private func file(_ content: [UInt8], _ type: String) -> HTTPResponse {
        HTTPResponse(contentType: type, body: content, fields: StatusPage.policy)
    }

    private func json(_ value: JSON) -> HTTPResponse {
        HTTPResponse(contentType: HTTPResponse.json, body: Array(value.text.utf8), fields: StatusPage.policy)
    }
}
