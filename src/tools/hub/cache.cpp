#include "tools/hub/cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <utility>

namespace holdfast::hub {
namespace {

using base::Code;
using base::fail;
namespace fs = std::filesystem;

// The names in a folder, sorted; empty if it cannot be read.
std::vector<std::string> entries_of(const std::string& folder) {
    std::vector<std::string> names;
    std::error_code error;
    for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
        names.push_back(at->path().filename().string());
    std::ranges::sort(names);
    return names;
}

// Bytes on the disk, and how many of them would be free if the folders were gone: files of other
// pulls may be the same ones, linked.
class Usage {
public:
    void add(const std::string& folder) {
        std::error_code error;
        for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end;
             at.increment(error)) {
            struct stat info = {};
            if (::lstat(at->path().c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
            auto& file = files_[{info.st_dev, info.st_ino}];
            file.bytes = static_cast<std::uint64_t>(info.st_blocks) * 512;
            file.links = info.st_nlink;
            ++file.seen;
        }
    }
    std::uint64_t bytes() const {
        std::uint64_t sum = 0;
        for (const auto& [inode, file] : files_) sum += file.bytes;
        return sum;
    }
    std::uint64_t freed() const {
        std::uint64_t sum = 0;
        for (const auto& [inode, file] : files_)
            if (file.seen >= file.links) sum += file.bytes;
        return sum;
    }

private:
    struct File {
        std::uint64_t bytes = 0, links = 0, seen = 0;
    };
    std::map<std::pair<dev_t, ino_t>, File> files_;
};

// The file of `manifest` that `wanted` names: whatever the case, and for GGUF files a word of the
// name is enough if no other file has it. Empty: none.
std::string file_of(const Manifest& manifest, const std::string& wanted) {
    std::string found;
    for (const RemoteFile& file : manifest.files) {
        if (lower_case(file.path) == lower_case(wanted)) return file.path;
        if (!has_word(file.path, wanted)) continue;
        if (!found.empty()) return {};
        found = file.path;
    }
    return found;
}

// Whether the pull was for that file, and what serves it is the pull's own choice.
bool asks_for(const Manifest& manifest, const std::string& wanted) {
    return !manifest.file.empty() && lower_case(manifest.file) == lower_case(wanted);
}

bool fits(const Manifest& manifest, const Reference& reference) {
    constexpr std::size_t short_commit = 7;
    const auto& revision = reference.revision;
    const bool is_revision =
        revision.empty() || revision == manifest.revision ||
        (revision.size() >= short_commit && manifest.commit.starts_with(revision));
    const bool is_file = reference.file.empty() || asks_for(manifest, reference.file) ||
                         !file_of(manifest, reference.file).empty();
    return lower_case(manifest.repo) == lower_case(reference.repo) && is_revision && is_file;
}

}  // namespace

base::Result<std::optional<FileLock>> FileLock::try_take(const std::string& path) {
    while (true) {
        base::UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
        if (!file) return fail(Code::internal, "cannot open {}: {}", path, std::strerror(errno));
        if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
            if (errno == EWOULDBLOCK) return std::optional<FileLock>();
            return fail(Code::internal, "cannot lock {}: {}", path, std::strerror(errno));
        }
        // Its last owner may have removed the file between our opening and locking it.
        struct stat ours = {}, now = {};
        if (::fstat(file.get(), &ours) == 0 && ::stat(path.c_str(), &now) == 0 &&
            ours.st_ino == now.st_ino)
            return std::optional<FileLock>(FileLock(std::move(file)));
        std::error_code ignored;
        fs::create_directories(fs::path(path).parent_path(), ignored);
    }
}

base::Result<Cache> Cache::find(const Environment& environment) {
    const auto own = environment("HOLDFAST_CACHE");
    if (own.starts_with('/')) return Cache(own);
    if (!own.empty()) return fail(Code::invalid, "HOLDFAST_CACHE must be an absolute path");
    if (const auto xdg = environment("XDG_CACHE_HOME"); xdg.starts_with('/'))
        return Cache(xdg + "/holdfast");
    if (const auto home = environment("HOME"); home.starts_with('/'))
        return Cache(home + "/.cache/holdfast");
    return fail(Code::invalid,
                "there is no place for models: neither HOLDFAST_CACHE nor HOME is set\n  next: set "
                "HOLDFAST_CACHE to a folder");
}

std::vector<Pulled> Cache::list() const {
    std::vector<Pulled> out;
    for (const auto& organization : entries_of(root_ + "/models"))
        for (const auto& name : entries_of(root_ + "/models/" + organization))
            list_repo(organization + "/" + name, out);
    return out;
}

void Cache::list_repo(const std::string& repo, std::vector<Pulled>& out) const {
    std::vector<Pulled> found;
    for (const auto& name : entries_of(folder_of(repo))) {
        if (name.starts_with('.')) continue;
        const auto folder = folder_of(repo) + "/" + name;
        auto manifest = read_manifest(folder);
        if (!manifest) continue;
        const auto served = manifest->served_file();
        const bool complete = is_complete(folder, *manifest);
        Usage usage;
        usage.add(folder);
        found.push_back({.state = complete ? Pulled::State::complete : Pulled::State::damaged,
                         .manifest = *std::move(manifest),
                         .path = served.empty() ? folder : folder + "/" + served,
                         .folder = folder,
                         .bytes = usage.bytes()});
    }
    std::ranges::sort(found, std::greater(),
                      [](const Pulled& one) { return one.manifest.pulled_at; });
    std::ranges::move(found, std::back_inserter(out));

    Usage usage;
    usage.add(partial_of(repo));
    if (usage.bytes() == 0) return;
    Pulled partial{.state = Pulled::State::partial,
                   .manifest = {.repo = repo},
                   .path = partial_of(repo),
                   .folder = partial_of(repo),
                   .bytes = usage.bytes()};
    for (const auto& name : entries_of(partial_of(repo)))
        if (auto manifest = read_manifest(partial_of(repo) + "/" + name);
            manifest && manifest->pulled_at >= partial.manifest.pulled_at)
            partial.manifest = *std::move(manifest);
    out.push_back(std::move(partial));
}

std::optional<Pulled> Cache::newest(const Reference& reference) const {
    std::vector<Pulled> found;
    list_repo(spelled(reference.repo), found);
    for (Pulled& one : found) {
        if (one.state != Pulled::State::complete || !fits(one.manifest, reference)) continue;
        const bool has_file = !reference.file.empty() && !asks_for(one.manifest, reference.file);
        if (has_file) one.path = one.folder + "/" + file_of(one.manifest, reference.file);
        return std::move(one);
    }
    return std::nullopt;
}

std::string Cache::spelled(const std::string& repo) const {
    std::error_code error;
    if (fs::is_directory(folder_of(repo), error)) return repo;
    for (const auto& organization : entries_of(root_ + "/models"))
        for (const auto& name : entries_of(root_ + "/models/" + organization))
            if (const auto known = organization + "/" + name; lower_case(known) == lower_case(repo))
                return known;
    return repo;
}

base::Result<std::uint64_t> Cache::remove(const Reference& wanted) const {
    std::error_code error;
    Reference reference = wanted;
    reference.repo = spelled(wanted.repo);
    const auto nothing = [&] {
        return fail(Code::not_found,
                    "{} is not in {}/models\n  next: `holdfast models` lists what "
                    "is",
                    reference.text(), root_);
    };
    if (!fs::is_directory(folder_of(reference.repo), error)) return nothing();
    HF_TRY_ASSIGN(const auto lock, FileLock::try_take(lock_of(reference.repo)));
    if (!lock)
        return fail(Code::unavailable,
                    "{} is being pulled right now\n  next: stop that, or wait for it",
                    reference.repo);
    const bool everything = reference.revision.empty() && reference.file.empty();
    std::vector<std::string> doomed;
    for (const auto& name : entries_of(folder_of(reference.repo))) {
        const auto folder = folder_of(reference.repo) + "/" + name;
        if (name == ".lock") continue;
        const auto manifest = read_manifest(folder);
        if (everything || (manifest && fits(*manifest, reference))) doomed.push_back(folder);
    }
    if (doomed.empty()) return nothing();
    std::ranges::reverse(doomed);  // .partial last: the others go through it
    Usage usage;
    for (const auto& folder : doomed) usage.add(folder);
    fs::create_directories(partial_of(reference.repo), error);
    for (const auto& folder : doomed) {
        // Out of sight at once, so that nobody ever finds half of it.
        auto aside =
            partial_of(reference.repo) + "/removed-" + fs::path(folder).filename().string();
        const bool moved =
            folder != partial_of(reference.repo) && ::rename(folder.c_str(), aside.c_str()) == 0;
        fs::remove_all(moved ? aside : folder, error);
        if (error) return fail(Code::internal, "cannot remove {}: {}", folder, error.message());
    }
    // What is empty now goes; a folder that is not empty stays.
    ::rmdir(partial_of(reference.repo).c_str());
    if (everything) {
        ::unlink(lock_of(reference.repo).c_str());
        ::rmdir(folder_of(reference.repo).c_str());
        ::rmdir(fs::path(folder_of(reference.repo)).parent_path().c_str());
    }
    return usage.freed();
}

std::optional<std::string> find_pulled(const Environment& environment, std::string_view text) {
    const auto reference = parse_reference(text);
    const auto cache = Cache::find(environment);
    if (!reference || !cache) return std::nullopt;
    const auto found = cache->newest(*reference);
    return found ? std::optional(found->path) : std::nullopt;
}

}  // namespace holdfast::hub
