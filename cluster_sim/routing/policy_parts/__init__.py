"""Parts that routing policies share: counts, rings, trees and memories of their own."""
