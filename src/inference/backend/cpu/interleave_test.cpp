#include "inference/backend/cpu/interleave.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace holdfast::cpu {
namespace {

// Panels of numbered elements, all rows or all but the last three, against where each belongs.
template <class Element, class Interleave, class PlaceOf>
void expect_places(Interleave interleave, PlaceOf place_of) {
    for (const std::uint32_t inputs : {1, 3, 4, 7, 8, 63, 64, 65, 76, 200}) {
        for (const std::size_t present : {panel_outputs, panel_outputs - 3}) {
            std::vector<Element> weights(panel_outputs * inputs);
            for (std::size_t i = 0; i < weights.size(); ++i)
                weights[i] = static_cast<Element>(i * 7 + 1);
            PanelRows rows{};
            for (std::size_t lane = 0; lane < present; ++lane)
                rows[lane] = reinterpret_cast<const std::byte*>(&weights[lane * inputs]);
            struct alignas(64) Line {
                std::byte bytes[64];
            };
            std::vector<Line> panel(
                std::size_t{panel_outputs} * inputs * sizeof(Element) / sizeof(Line), Line());
            interleave(rows, inputs, panel.data()->bytes);
            for (std::size_t lane = 0; lane < panel_outputs; ++lane) {
                for (std::size_t k = 0; k < inputs; ++k) {
                    Element found;
                    std::memcpy(
                        &found,
                        panel.data()->bytes + (k * panel_outputs + place_of(lane)) * sizeof found,
                        sizeof found);
                    const Element expected =
                        lane < present ? weights[lane * inputs + k] : Element();
                    ASSERT_EQ(found, expected) << inputs << " inputs, " << lane << ", " << k;
                }
            }
        }
    }
}

TEST(Interleave, PutsHalvesOfAPanelInOneWord) {
    expect_places<std::uint16_t>(
        [](const PanelRows& rows, std::uint32_t inputs, std::byte* panel) {
            interleave_halves(rows, inputs, Pairs::halves, panel);
        },
        [](std::size_t lane) { return lane % 16 * 2 + lane / 16; });
}

TEST(Interleave, PutsNeighboursInOneWord) {
    expect_places<std::uint16_t>(
        [](const PanelRows& rows, std::uint32_t inputs, std::byte* panel) {
            interleave_halves(rows, inputs, Pairs::neighbours, panel);
        },
        [](std::size_t lane) { return lane; });
}

TEST(Interleave, PutsWordsSideBySide) {
    expect_places<std::uint32_t>([](const PanelRows& rows, std::uint32_t inputs,
                                    std::byte* panel) { interleave_words(rows, inputs, panel); },
                                 [](std::size_t lane) { return lane; });
}

}  // namespace
}  // namespace holdfast::cpu
