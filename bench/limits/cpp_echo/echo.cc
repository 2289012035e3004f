// A gRPC echo in C++: what a server in that language can answer over gRPC's core. Knows no models.
//
// The asynchronous API with generic byte buffers: no protobuf, no copy of the message; an echo hands back the very
// slices that came in. One completion queue and one thread to each --threads. Speaks with the harness as bench/control.py
// says: a line of JSON when it is up, one for each line of input, and the end with the input's end.
//
//   cpp-echo                     answers each message with itself
//   cpp-echo --answer-bytes 12   answers each message with 12 bytes
//   cpp-echo --threads 2         polls on two threads; default 1

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

// As many as the lane of the server posts.
constexpr int kPostedCalls = 128;

struct Settings {
  long answer_bytes = -1;  // < 0: the message itself
  int threads = 1;
};

// One call after the other on one queue: asked for, read, answered, and gone; whoever is asked for next is another one.
class Call {
 public:
  Call(grpc::AsyncGenericService* service, grpc::ServerCompletionQueue* queue, const grpc::ByteBuffer* answer)
      : service_(service), queue_(queue), answer_(answer), stream_(&context_) {
    service_->RequestCall(&context_, &stream_, queue_, queue_, this);
  }

  // Takes an event of this call. Deletes the call at its end.
  void Proceed(bool ok) {
    if (!ok || state_ == State::kAnswered) {
      delete this;
      return;
    }
    if (state_ == State::kAsked) {
      new Call(service_, queue_, answer_);
      state_ = State::kReading;
      stream_.Read(&message_, this);
      return;
    }
    state_ = State::kAnswered;
    stream_.WriteAndFinish(answer_ != nullptr ? *answer_ : message_, grpc::WriteOptions(), grpc::Status::OK, this);
  }

 private:
  enum class State { kAsked, kReading, kAnswered };

  grpc::AsyncGenericService* service_;
  grpc::ServerCompletionQueue* queue_;
  const grpc::ByteBuffer* answer_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_;
  grpc::ByteBuffer message_;
  State state_ = State::kAsked;
};

void Poll(grpc::ServerCompletionQueue* queue) {
  void* tag = nullptr;
  bool ok = false;
  while (queue->Next(&tag, &ok)) static_cast<Call*>(tag)->Proceed(ok);
}

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + 1e-6 * time.tv_usec; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

Settings Read(int count, char** words) {
  Settings settings;
  for (int index = 1; index + 1 < count; index += 2) {
    const std::string name = words[index];
    if (name == "--answer-bytes") {
      settings.answer_bytes = std::strtol(words[index + 1], nullptr, 10);
    } else if (name == "--threads") {
      settings.threads = std::atoi(words[index + 1]);
    } else {
      std::cerr << "cpp-echo: unknown flag " << name << std::endl;
      std::exit(2);
    }
  }
  return settings;
}

void Serve(const Settings& settings) {
  grpc::ByteBuffer fixed;
  if (settings.answer_bytes >= 0) {
    grpc::Slice slice(std::string(static_cast<std::size_t>(settings.answer_bytes), '\0'));
    fixed = grpc::ByteBuffer(&slice, 1);
  }
  int port = 0;
  grpc::AsyncGenericService service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(-1);
  builder.RegisterAsyncGenericService(&service);
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
  for (int index = 0; index < settings.threads; ++index) queues.push_back(builder.AddCompletionQueue());
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    std::cout << R"({"problem": "gRPC could not listen on a port of 127.0.0.1"})" << std::endl;
    return;
  }
  std::vector<std::thread> threads;
  for (const auto& queue : queues) {
    for (int index = 0; index < kPostedCalls; ++index) {
      new Call(&service, queue.get(), settings.answer_bytes >= 0 ? &fixed : nullptr);
    }
    threads.emplace_back(Poll, queue.get());
  }
  std::cout << R"({"address": "127.0.0.1:)" << port << R"("})" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << R"({"cpu_s": )" << CpuSeconds() << "}" << std::endl;
  }
  server->Shutdown(std::chrono::system_clock::now());
  for (const auto& queue : queues) queue->Shutdown();
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main(int count, char** words) {
  Serve(Read(count, words));
  return 0;
}
