#include "tools/hub/pull.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "common/base/unique_fd.h"

namespace holdfast::hub {
namespace {

using base::Code;
using base::Error;
using base::fail;
namespace fs = std::filesystem;

// The folders of one pull.
struct Place {
    std::string target;   // where the complete folder is to be
    std::string partial;  // for what is unfinished, on the same file system
    std::string staging;  // in `partial`: becomes the target
    std::string lock;
    bool in_cache = true;
};

base::Result<> make_folders(const std::string& path) {
    std::error_code error;
    fs::create_directories(path, error);
    if (!error) return {};
    const bool is_full = error == std::errc::no_space_on_device;
    return fail(is_full ? Code::overloaded : Code::internal, "cannot make the folder {}: {}", path,
                error.message());
}

void sync_folder(const std::string& path) {
    const base::UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    // Where a file system cannot do this, the names become durable a little later.
    if (folder) static_cast<void>(::fsync(folder.get()));
}

class Pull {
public:
    Pull(const Hub& hub, const PullOptions& options, const Cache& cache, const Stop& stop,
         const Watcher& watcher, const base::Clock& clock)
        : hub_(hub),
          options_(options),
          cache_(cache),
          stop_(stop),
          watcher_(watcher),
          clock_(clock) {}

    base::Result<PullResult> run() {
        HF_TRY(choose());
        HF_TRY(find_place());
        HF_TRY_ASSIGN(const FileLock lock, take_lock());
        if (was_there()) {
            finish();
            return result(true);
        }
        HF_TRY(check_target());
        auto done = prepare();
        if (done) done = download_files();
        if (!done) return std::unexpected(with_what_stays(std::move(done).error()));
        HF_TRY(publish());
        finish();
        return result(false);
    }

private:
    const std::string& repo() const { return options_.reference.repo; }

    base::Result<> choose() {
        HF_TRY_ASSIGN(auto listing, list_files(hub_, options_.reference, stop_, watcher_.say));
        auto chosen = select_files(listing.files, options_.reference.file, options_.include);
        if (!chosen) {
            auto error = std::move(chosen).error();
            error.what = fmt::format("{} at {}: {}", repo(), hub_.endpoint, error.what);
            return std::unexpected(std::move(error));
        }
        manifest_ = Manifest{.repo = repo(),
                             .endpoint = hub_.endpoint,
                             .revision = options_.reference.revision,
                             .commit = std::move(listing.commit),
                             .file = options_.reference.file,
                             .pulled_at = clock_.unix_seconds(),
                             .files = *std::move(chosen)};
        const auto unchecked =
            std::ranges::count(manifest_.files, Checksum{}, &RemoteFile::checksum);
        if (unchecked > 0)
            watcher_.say(
                fmt::format("warning: the hub gives no checksum for {} of {} files; of "
                            "these only the size is checked",
                            unchecked, manifest_.files.size()));
        return {};
    }

    base::Result<> find_place() {
        const auto id = content_id(manifest_.files);
        if (options_.to.empty()) {
            place_ = {.target = cache_.folder_of(repo()) + "/" + id,
                      .partial = cache_.partial_of(repo()),
                      .staging = {},
                      .lock = cache_.lock_of(repo())};
        } else {
            auto target = fs::absolute(options_.to).lexically_normal().string();
            while (target.size() > 1 && target.ends_with('/')) target.pop_back();
            place_ = {.target = target,
                      .partial = target + ".partial",
                      .staging = {},
                      .lock = target + ".partial/.lock",
                      .in_cache = false};
        }
        place_.staging = place_.partial + "/" + id;
        return make_folders(place_.partial);
    }

    base::Result<FileLock> take_lock() {
        bool said = false;
        while (true) {
            HF_TRY_ASSIGN(auto lock, FileLock::try_take(place_.lock));
            if (lock) return *std::move(lock);
            if (!std::exchange(said, true))
                watcher_.say(fmt::format("another pull of {} is running; waiting for it", repo()));
            constexpr int look_again_ms = 200;
            pollfd source{stop_.fd(), POLLIN, 0};
            if (::poll(&source, 1, look_again_ms) > 0)
                return fail(Code::cancelled, "interrupted while waiting for another pull of {}",
                            repo());
        }
    }

    // Whether exactly these files are in place; then only the note about them is made new.
    bool was_there() {
        const auto there = read_manifest(place_.target);
        const bool is_same =
            there && there->files == manifest_.files && is_complete(place_.target, *there);
        // A folder that may only be read is as good.
        if (is_same) static_cast<void>(write_manifest(place_.target, manifest_));
        return is_same;
    }

    // Of a folder that somebody named, nothing is ever thrown away.
    base::Result<> check_target() {
        struct stat info = {}, parent = {};
        if (place_.in_cache || ::lstat(place_.target.c_str(), &info) != 0) return {};
        std::error_code error;
        if (!S_ISDIR(info.st_mode) || !fs::is_empty(place_.target, error) || error)
            return discard(fail(Code::invalid,
                                "{} is there already and has something else in it\n  next: name a "
                                "folder that does not exist, or remove this one",
                                place_.target));
        const auto above = fs::path(place_.target).parent_path().string();
        if (::stat(above.c_str(), &parent) == 0 && parent.st_dev != info.st_dev)
            return discard(
                fail(Code::invalid,
                     "{} is a mount point, which no finished folder can replace\n  next: "
                     "name a folder inside it, such as --to {}/{}",
                     place_.target, place_.target, fs::path(repo()).filename().string()));
        return {};
    }

    // Nothing has been downloaded yet: what was made for it goes.
    std::unexpected<Error> discard(std::unexpected<Error> error) {
        finish();
        return error;
    }

    base::Result<> prepare() {
        HF_TRY(make_folders(place_.staging));
        HF_TRY(write_manifest(place_.staging, manifest_));
        link_known_files();
        return {};
    }

    // Files of equal content that other pulls of this repository have checked before: a new commit
    // seldom changes the weights. Where they cannot be linked, they are downloaded.
    void link_known_files() {
        std::error_code error;
        for (const std::string& above : {cache_.folder_of(repo()), place_.partial}) {
            for (fs::directory_iterator at(above, error), end; !error && at != end;
                 at.increment(error)) {
                const auto folder = at->path().string();
                if (folder == place_.staging || folder == place_.partial) continue;
                if (const auto other = read_manifest(folder); other) link_from(folder, *other);
            }
        }
    }

    void link_from(const std::string& folder, const Manifest& other) {
        for (const RemoteFile& file : manifest_.files) {
            if (file.checksum.kind == Checksum::Kind::none) continue;
            const auto same = std::ranges::find_if(other.files, [&](const RemoteFile& one) {
                return one.checksum == file.checksum && one.size == file.size;
            });
            struct stat info = {};
            const auto target = place_.staging + "/" + file.path;
            if (same == other.files.end() || ::lstat(target.c_str(), &info) == 0) continue;
            const auto source = folder + "/" + same->path;
            const bool is_sound = ::lstat(source.c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
                                  static_cast<std::uint64_t>(info.st_size) == file.size;
            std::error_code error;
            fs::create_directories(fs::path(target).parent_path(), error);
            if (is_sound) static_cast<void>(::link(source.c_str(), target.c_str()));
        }
    }

    base::Result<> download_files() {
        const auto& revision = manifest_.commit.empty() ? default_revision() : manifest_.commit;
        DownloadPlan plan{
            .files = {}, .folder = place_.staging, .parts = place_.partial, .jobs = options_.jobs};
        for (const RemoteFile& file : manifest_.files)
            plan.files.push_back({file, hub_.file_url(options_.reference, revision, file.path)});
        const Watcher inner{[this](const Progress& progress) {
                                last_ = progress;
                                if (watcher_.progress) watcher_.progress(progress);
                            },
                            watcher_.say};
        return download(hub_, options_.reference, plan, stop_, inner, clock_);
    }

    std::string default_revision() const {
        if (!manifest_.revision.empty()) return manifest_.revision;
        return hub_.kind == Hub::Kind::modelscope ? "master" : "main";
    }

    Error with_what_stays(Error error) const {
        const auto kept =
            last_.bytes_total == 0
                ? fmt::format("what has come stays in {}", place_.partial)
                : fmt::format("{} of {} are kept in {}", format_size(last_.bytes_done),
                              format_size(last_.bytes_total), place_.partial);
        if (error.code == Code::cancelled)
            error.what =
                fmt::format("interrupted; {}\n  next: the same command goes on from there", kept);
        else if (error.code == Code::overloaded && error.what.find("\n  next") == error.what.npos)
            error.what = fmt::format(
                "{}; {}\n  next: make room, or choose another place with "
                "HOLDFAST_CACHE or --to; the same command goes on from there",
                error.what, kept);
        return error;
    }

    base::Result<> publish() {
        for (const RemoteFile& file : manifest_.files)
            sync_folder(fs::path(place_.staging + "/" + file.path).parent_path().string());
        if (place_.in_cache) {
            // What has this name and is not complete, or was_there() would have taken it.
            std::error_code error;
            const auto damaged = place_.partial + "/damaged";
            fs::remove_all(damaged, error);
            if (::rename(place_.target.c_str(), damaged.c_str()) == 0)
                fs::remove_all(damaged, error);
        }
        if (::rename(place_.staging.c_str(), place_.target.c_str()) != 0)
            return fail(Code::internal, "cannot move {} to {}: {}", place_.staging, place_.target,
                        std::strerror(errno));
        sync_folder(fs::path(place_.target).parent_path().string());
        return {};
    }

    // Removes what is empty; in the cache another unfinished pull may have left something.
    void finish() {
        if (!place_.in_cache) ::unlink(place_.lock.c_str());
        ::rmdir(place_.partial.c_str());
    }

    PullResult result(bool was_there) const {
        const auto served = manifest_.served_file();
        return {.pulled = {.state = Pulled::State::complete,
                           .manifest = manifest_,
                           .path = served.empty() ? place_.target : place_.target + "/" + served,
                           .folder = place_.target,
                           .bytes = manifest_.bytes()},
                .was_there = was_there};
    }

    const Hub& hub_;
    const PullOptions& options_;
    const Cache& cache_;
    const Stop& stop_;
    const Watcher& watcher_;
    const base::Clock& clock_;
    Manifest manifest_;
    Place place_;
    Progress last_;
};

}  // namespace

base::Result<PullResult> pull(const Hub& hub, const PullOptions& options, const Cache& cache,
                              const Stop& stop, const Watcher& watcher, const base::Clock& clock) {
    return Pull(hub, options, cache, stop, watcher, clock).run();
}

}  // namespace holdfast::hub
