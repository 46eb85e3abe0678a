# Debian 12 ships Node's HTTP parser as C source (package node-llhttp); newer systems have libllhttp-dev too.
find_path(LLHTTP_SOURCES llhttp.c PATHS /usr/share/llhttp REQUIRED)
find_path(LLHTTP_HEADERS llhttp.h PATHS /usr/share/include/llhttp REQUIRED)
kurultai_compile_for_speed(${LLHTTP_SOURCES}/llhttp.c)
add_library(kurultai_llhttp STATIC ${LLHTTP_SOURCES}/llhttp.c ${LLHTTP_SOURCES}/api.c ${LLHTTP_SOURCES}/http.c)
target_include_directories(kurultai_llhttp SYSTEM PUBLIC ${LLHTTP_HEADERS})
