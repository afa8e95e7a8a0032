// Proposes what a choice says next from what it and its prompt have said, so that one forward gives
// several tokens. A proposal costs rows of the batch and never changes an answer: the sampler draws
// every token as if nothing had been proposed, and the first one that differs ends the proposal
// ("prompt lookup decoding", Saxena 2023; exact because a draw is a function of the prefix).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/chat/request.h"

namespace holdfast::engine {

// Where the n-grams of a growing sequence stood last. A table of positions by hash: a collision
// forgets the older n-gram, so that a token costs constant time (amortized: the table doubles with
// the sequence) and memory is bounded.
class NgramIndex {
public:
    static constexpr std::uint32_t longest = 4, shortest = 2;

    // Fills `proposal` with what followed the latest earlier occurrence of the last n ids, for the
    // largest n that has one; a repetition is continued beyond the end of `ids`. False: nothing
    // was found. `ids` are those of the last call and perhaps more.
    bool propose(std::span<const chat::TokenId> ids, std::span<chat::TokenId> proposal);

private:
    static constexpr std::size_t slots_max = std::size_t{1} << 16;
    std::uint32_t& slot(std::span<const chat::TokenId> ngram);
    void catch_up(std::span<const chat::TokenId> ids);

    std::vector<std::uint32_t> ends_;  // a power of two; the position after the n-gram, 0: none
    std::uint32_t indexed_ = 0;        // the largest such position
};

// The proposals of one choice. How long they are follows from how many tokens were accepted before:
// a budget that accepted ones fill and refused ones drain. When it is empty, nothing is proposed
// for a while, twice as long each time, so that text which repeats nothing costs next to nothing.
class Speculation {
public:
    // Appends at most `most` tokens to `ids`; returns how many.
    std::uint32_t propose(std::vector<chat::TokenId>& ids, std::uint32_t most);
    bool resting() const { return resting_ > 0; }  // then propose() adds nothing
    // How the last proposal of at least one token ended, in a step of so many sequences.
    void learn(std::uint32_t proposed, std::uint32_t accepted, std::uint32_t sequences);

private:
    // An accepted token saves its own sequence a step; a refused one makes the step longer for all
    // that share it. A row more costs 2 to 4 % of a step while the weights' way from memory
    // dominates it, up to 15 % beyond four rows, and 40 % when the model fits into the caches
    // (docs/benchmarks.md). The budget stands still when a fifth is accepted of one sequence's, and
    // half of the proposals of four.
    static constexpr int accepted_earns = 4, budget_max = 16;
    static constexpr std::uint32_t rest_min = 16, rest_max = 256;  // steps

    NgramIndex index_;
    int budget_ = 4;
    std::uint32_t length_ = 2;  // of the next proposal
    std::uint32_t resting_ = 0, next_rest_ = rest_min;
};

}  // namespace holdfast::engine
