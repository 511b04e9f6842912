import Testing

@testable import GatewayCore

@Suite struct GivingWayTests {
    @Test func aChangeOfStateIsToldOnce() {
        var watch = GivingWay()
        // What gave way before the start is no news.
        #expect(watch.look(100, at: .seconds(0)) == nil)
        #expect(watch.look(100, at: .seconds(1)) == nil)
        #expect(watch.look(103, at: .seconds(2)) == .began)
        #expect(watch.isUnderWay)
        #expect(watch.look(110, at: .seconds(3)) == nil)
        #expect(watch.look(110, at: .seconds(62)) == nil)
        // Another one within the minute goes on with it.
        #expect(watch.look(111, at: .seconds(62)) == nil)
        #expect(watch.look(111, at: .seconds(121)) == nil)
        #expect(watch.look(111, at: .seconds(122)) == .ended(11))
        #expect(!watch.isUnderWay)
        #expect(watch.look(111, at: .seconds(123)) == nil)
        #expect(watch.look(112, at: .seconds(124)) == .began)
    }
}
